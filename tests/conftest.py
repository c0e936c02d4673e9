"""What all tests start from."""

import os
import signal

# As many tests at once as there are cores, each with as many threads: threads that wait for each
# other by spinning take the cores from those that work. Read when torch is loaded, also by programs
# that tests start; no number changes by it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell that starts tests in the background, or nohup, has what they start ignore these.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
