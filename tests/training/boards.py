"""What TensorBoard finds in the folders of runs, by its own readers."""

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

KINDS = ("scalars", "tensors", "images", "histograms")
NODE = {
    "_target_": "bidnn.training.tensorboard.TensorBoard",
    "name": "",
    "version": "tensorboard",
    "sub_dir": "{settings}",
    "default_hp_metric": False,
}


def board(folder):
    """A node of `logger`."""
    return {"tensorboard": {**NODE, "save_dir": str(folder)}}


def named(folder):
    """The one folder with events of a run, below the run's."""
    (found,) = {path.parent for path in folder.rglob("events.*")}
    return found


def events(folder):
    """All that there is of a run, as TensorBoard reads it."""
    return EventAccumulator(str(named(folder)), size_guidance=dict.fromkeys(KINDS, 0)).Reload()


def curves(folder):
    """Steps and values by tag."""
    found = events(folder)
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def hparams_tab(folder):
    """The columns of the tab, settings and metrics, in their order; and its rows by run."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(folder))))
    shown = get_experiment.Handler(
        RequestContext(), context, "", api_pb2.GetExperimentRequest()
    ).run()
    settings = [info.name for info in shown.hparam_infos]
    metrics = [info.name.tag for info in shown.metric_infos]
    wanted = api_pb2.ListSessionGroupsRequest(
        slice_size=100,
        start_index=0,
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_UNKNOWN],
        col_params=[
            *(api_pb2.ColParams(hparam=name) for name in settings),
            *(api_pb2.ColParams(metric=info.name) for info in shown.metric_infos),
        ],
    )
    groups = list_session_groups.Handler(RequestContext(), context, "", wanted).run().session_groups
    rows = {
        group.sessions[0].name: (
            {key: value.string_value or value.number_value for key, value in group.hparams.items()},
            {value.name.tag: value.value for value in group.metric_values},
        )
        for group in groups
    }
    return settings, metrics, rows
