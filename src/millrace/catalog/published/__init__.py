"""Models that tenants publish: repositories, their revisions and files, and who may see them."""
