"""When a schedule runs: functions of its rule and a moment, no more."""
