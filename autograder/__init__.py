"""The grading engine: release, classroom and, for trusted marks, intake, sandbox, judge and publisher."""
