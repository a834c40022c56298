"""Why finished searches found what they found: effects of single changes, how choices developed, where they agree."""
