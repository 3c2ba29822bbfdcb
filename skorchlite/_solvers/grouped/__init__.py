"""One regression a group, many groups at a time: all steps are products of stacks of matrices."""
