"""hold → progress → settle (or void): the one place where a Charge becomes transfers. Recovery and the sweeper live
here too.
"""
