"""Processes that hold nothing but what was imported, so that their memory can be measured.

They are forks of one server in which the imports are done already, and soon there.
"""

import multiprocessing

PRELOADED = ["tests.support.capped", "tests.support.memory"]


def outcome_of(function, *arguments):
    """Return what a function sends when it is called in a process of its own.

    Parameters
    ----------
    function : callable
        Is given the arguments, and a connection to send the outcome by.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=function, args=(*arguments, sender))
    process.start()
    sender.close()  # so that a process which ends without an outcome ends the waiting for it
    try:
        return receiver.recv()
    finally:
        process.join()
