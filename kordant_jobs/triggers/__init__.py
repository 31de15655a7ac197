"""Triggers of jobs: schedules from the price list, sensors on new data, and the keeper for what they missed.

tick       the starts of one row, in one transaction              orders     from what is due to run requests
schedules  Dagster's schedules from the rows                      keeper     starts that schedules missed
price_list changes to the rows                                    copy       the last good rows, in a file
reloader   a changed row becomes live                             sensors    new data, the outbox
"""
