"""Web pages: what a browser sees at the base URL. Server-rendered, nothing from elsewhere."""
