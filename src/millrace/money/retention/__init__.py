"""Usage written out to Parquet files, each row once, and deleted from the database when it is old enough."""
