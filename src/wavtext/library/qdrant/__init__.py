"""A library kept in Qdrant, for collections that outgrow one machine."""
