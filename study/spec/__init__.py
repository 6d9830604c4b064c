"""Turn a study file into a Spec: read it, check it, resolve inheritance, describe conditions in words."""
