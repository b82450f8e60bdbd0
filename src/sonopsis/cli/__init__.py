"""The command `sonopsis`: one file for each verb. Heavy imports happen inside verbs, so that `--help` is instant."""
