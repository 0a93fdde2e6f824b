"""One composition a stage, which the command line, a kernel, a study and the dry run call."""
