"""The texts of the warnings, by the status of a solution."""

MESSAGES = {
    "max_iter": (
        "The solver stopped after max_iter={max_iter} iterations with a relative change of the "
        "coefficients of {change:.1e}, above tol={tol:.1e}. The best iterate is kept. Increase "
        "max_iter or tol."
    ),
    "stalled": (
        "The solver stalled: the last relative change of the coefficients was "
        "{change:.1e}, above tol={tol:.1e}. Columns this close to dependent leave no more digits "
        "in {dtype}. Use dtype='float64', a penalty (penalty='l2'), fewer columns, or a larger "
        "tol."
    ),
    "max_iter_gap": (
        "The solver stopped after max_iter={max_iter} iterations with an objective that may be "
        "{optimality:.1e} above the optimum, relatively, more than tol={tol:.1e}. The best iterate "
        "is kept. Increase max_iter or tol."
    ),
    "max_iter_epochs": (
        "The solver stopped after max_iter={max_iter} epochs, before the check that tol={tol:.1e} "
        "stands for was met. Increase max_iter or tol, or use learning_rate='auto' or "
        "solver='auto', which need fewer."
    ),
    "stalled_epochs": (
        "No further decrease of the objective: the norm of the gradient is {norm:.1e} of that at "
        "the constant model, above tol={tol:.1e}. Use a larger tol, a penalty (penalty='l2'), or "
        "solver='auto'."
    ),
    "stalled_callable": (
        "The solver stalled: the norm of the gradient is {norm:.1e} of "
        "that at the constant model, above tol={tol:.1e}. {reason}"
    ),
    "diverged": (
        "The loss was no longer finite at update {t}, in epoch {epoch}: with a step of {rate:.3g} "
        "the descent diverges. Steps below {bound:.2g} are stable here (2 / the largest curvature "
        "of a batch). Use learning_rate='auto', which finds its own step, or scale the columns. "
        "The best finite coefficients are kept."
    ),
    "rising": (
        "The objective rose: with a step of {rate:.3g} the descent diverges. Steps below "
        "{bound:.2g} are stable here (2 / the largest curvature of a batch). Use "
        "learning_rate='auto', which finds its own step, or scale the columns. The best finite "
        "coefficients are kept."
    ),
    "unresolved": (
        "The columns are of so different sizes that directions among the small ones were not "
        "resolved beside the large ones: the gradient there is not zero. Scale the columns "
        "(StandardScaler), or use fewer of them than samples."
    ),
    "blurred": (
        "The sums over the rows, which are all that is kept of them, do not hold the answer: up to "
        "{lost:.0e} of what the columns vary by, in some direction, may be rounding, since rows "
        "are far from each other for how little they differ otherwise. Fit all rows at once (from "
        "what can be read again), shift the columns of each part, or use a penalty "
        "(penalty='l2')."
    ),
    "cancelled": (
        "The descent had to be in powers of the columns, of which up to {cancelled:.0f} digits "
        "cancel where the columns are this far from zero, relative to their range, or the degree "
        "is this high; doubles hold 16. The solution may be far from the optimum. Lower the "
        "degree, centre the columns, or use basis='chebyshev'; with penalty='l2' other terms are "
        "found where all rows are fitted at once and terms are not too many."
    ),
    "above_zero": (
        "The epochs ended with an objective above that without any coefficients: with a step of "
        "{rate:.3g} the noise of the batches outweighs what they gain. Steps below {bound:.2g} are "
        "stable here (2 / the largest curvature of a batch). Use learning_rate='auto', which finds "
        "its own step, a smaller step, or larger batches. The best coefficients are kept."
    ),
    "stalled_gap": (
        "The solver stalled: the objective may be {optimality:.1e} above the "
        "optimum, relatively, more than tol={tol:.1e}. Use a larger tol, or a penalty "
        "(penalty='l2')."
    ),
    "stalled_norm": (
        "The solver stalled: the norm of the gradient is {norm:.1e} of that at the constant model, "
        "above tol={tol:.1e}. Use a larger tol, or a penalty (penalty='l2')."
    ),
    "max_iter_norm": (
        "The solver stopped after max_iter={max_iter} iterations with a norm of the gradient of "
        "{norm:.1e} of that at the constant model, above tol={tol:.1e}. The best iterate is kept. "
        "Increase max_iter or tol."
    ),
    "separated": (
        "The optimum is at infinity: all targets are zero, or the columns tell rows with y = 0 "
        "from all others, so that the objective falls as long as their predictions go to zero. "
        "The coefficients are where it is within {optimality:.1e} of its infimum, relatively, and "
        "as large as that takes. Leave out columns that are nonzero only where y is zero, or use a "
        "penalty (penalty='l2'), which helps unless all targets are zero."
    ),
}
