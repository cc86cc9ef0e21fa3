"""Other libraries' projections under the names of constraints, as the suite calls them."""
