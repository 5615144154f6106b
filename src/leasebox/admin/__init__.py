"""Operator verbs and views over all slices; each verb is audited in the same transaction."""
