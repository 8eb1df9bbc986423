"""What the Zoho packages share by nature: data centres, OAuth, identity, refusals."""
