"""One codec file per wire; they do not import each other. See `base` for what a Call needs of them."""
