"""What the Zoho packages share: data centres, OAuth, identity, refusals."""
