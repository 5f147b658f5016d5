"""The page that tells next morning what happened in the night: `view` gathers it, `page` writes it as HTML."""
