"""The command line: Click groups whose heavy imports stand inside their commands."""
