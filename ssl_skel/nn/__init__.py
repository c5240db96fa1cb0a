"""Networks, point operations, losses and views; pure torch, no knowledge of datasets or of the bench."""
