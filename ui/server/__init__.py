"""The web server around the page: settings, middleware, uploads, metrics."""
