"""scikit-learn's own checks of an estimator, as far as two inputs allow."""

import warnings

from sklearn.utils.estimator_checks import check_estimator

from bidnn import BiDNN

TWO = "fit takes two inputs; a second one may be labels, by place and not by the name y"
WORDS = "refused, in words of our own"
EXCEPTIONS = {
    "check_fit_score_takes_y": TWO,
    "check_transformer_general": TWO,
    "check_transformer_data_not_an_array": TWO,
    "check_do_not_raise_errors_in_init_or_set_params": "any setting of conf/ is a keyword, which a "
    "signature does not list; what is none of them is refused at once",
    "check_n_features_in_after_fitting": WORDS,
    "check_estimators_empty_data_messages": WORDS,
    "check_fit2d_1feature": WORDS,
    "check_fit2d_predict1d": WORDS,
    "check_dtype_object": WORDS,
    "check_estimator_sparse_array": "takes sparse rows; but predict gives vectors, not one number",
    "check_estimator_sparse_matrix": "likewise",
    "check_estimators_pickle": "hides single values, where a missing modality is NaN in all",
    "check_methods_subset_invariance": "float32, which differs by 1e-5 with the rows of a product",
}
"""Why a check of scikit-learn's is not passed."""


def test_what_scikit_learn_checks_is_so_but_for_named_exceptions():
    net = BiDNN(mod1size=1, hdn=4, rep=2, epochs=1, verbosity=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(net, on_fail=None, on_skip=None)
    failed = {check["check_name"] for check in found if check["status"] == "failed"}
    rounding = {"check_methods_subset_invariance"}  # which differs by machine
    assert failed | rounding == set(EXCEPTIONS)
    assert len({check["check_name"] for check in found} - failed) >= 30
