"""What every transport must do, as checks to run over one."""
