"""What people see in a browser: the jobs as HTML, for the dashboard's widget and for a report.

Pure: values in, markup out. It imports the standard library and the domain alone.
"""
