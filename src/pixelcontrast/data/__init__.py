"""From files to batches: label tables, data sets, transforms, the order of samples."""
