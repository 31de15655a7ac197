"""When a job runs: schedules from the price list, sensors on new data, and the keeper for what they leave over.

tick       what a look at a row leads to, in one transaction      orders     from what is due to run requests
schedules  Dagster's schedules from the rows                      keeper     what schedules left over
price_list changes to the rows                                    copy       the last good rows, in a file
reloader   a changed row becomes live                             sensors    new data, the outbox
"""
