"""The pages that people see: view models, templates, styles and a script."""
