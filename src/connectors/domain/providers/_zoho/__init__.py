"""What the Zoho rooms share by nature: data centres, OAuth, identity, refusals."""
