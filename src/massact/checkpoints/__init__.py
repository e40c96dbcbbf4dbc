"""Where weights come from: the Hub, local folders, trained families."""
