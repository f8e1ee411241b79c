"""Who is to blame, inferred: how well each possible cause explains what fails and what does not."""
