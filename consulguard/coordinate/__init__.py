"""Who may act: lease, epoch, membership."""
