"""The only layer that knows steps, devices, ranks and disks."""
