"""What people see: pure functions from items and results to Rich renderables."""
