"""SIGTERM in processes of all sorts: whose handler is held up, and whose is not."""

import signal
from textwrap import dedent

from tests.adapters.scripts import run_script

BEGIN = """
import asyncio, os, signal, sys, threading, time
from balancemw import Balancer
from balancemw.farewell import watch_sigterm

balancer = Balancer({"services": {}, "inbound": {"drain_seconds": SECONDS}})

def former(number, frame):
    print("the server's", flush=True)
    os._exit(7)

def until(holds):
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    os._exit(99)
"""


def said(code: str, seconds: float = 600) -> tuple[int, str]:
    """What became of a process that runs `code`, and what it printed."""
    done = run_script(BEGIN.replace("SECONDS", str(seconds)) + dedent(code))
    return done.returncode, done.stdout


def test_the_servers_own_handler_is_called_when_the_time_is_over():
    code = """
    signal.signal(signal.SIGTERM, former)
    watch_sigterm(balancer, server=True)
    signal.raise_signal(signal.SIGTERM)
    until(lambda: balancer.presence.draining)
    print("draining", flush=True)
    until(lambda: False)
    """
    assert said(code, 0.3) == (7, "draining\nthe server's\n")


def test_a_thread_that_serves_has_it_set_in_the_main_thread():
    code = """
    signal.signal(signal.SIGTERM, former)
    thread = threading.Thread(target=lambda: watch_sigterm(balancer, server=True))
    thread.start()
    thread.join()
    until(lambda: signal.getsignal(signal.SIGTERM) is not former)
    os.kill(os.getpid(), signal.SIGTERM)
    until(lambda: balancer.presence.draining)
    os.kill(os.getpid(), signal.SIGTERM)
    until(lambda: False)
    """
    assert said(code) == (7, "the server's\n")


def test_a_child_process_that_inherits_the_handler_ends_at_once():
    code = """
    signal.signal(signal.SIGTERM, former)
    watch_sigterm(balancer, server=True)
    child = os.fork()
    if child == 0:
        signal.raise_signal(signal.SIGTERM)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), balancer.presence.draining)
    os._exit(0)
    """
    assert said(code) == (0, "the server's\n7 False\n")


def test_a_child_that_serves_drains_by_itself():
    code = """
    signal.signal(signal.SIGTERM, former)
    watch_sigterm(balancer, server=True)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, former)  # as servers do in their workers
        watch_sigterm(balancer, server=True)
        signal.raise_signal(signal.SIGTERM)
        until(lambda: balancer.presence.draining)
        print("draining", flush=True)
        until(lambda: False)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status))
    """
    assert said(code, 0.3) == (7, "draining\nthe server's\n")


def test_a_process_without_a_handler_is_ended_by_the_signal_and_held_up_only_if_it_serves():
    code = """
    watch_sigterm(balancer, server=SERVES)
    signal.raise_signal(signal.SIGTERM)
    until(lambda: balancer.presence.draining)
    print("draining", flush=True)
    until(lambda: False)
    """
    assert said(code.replace("SERVES", "True"), 0.3) == (-signal.SIGTERM, "draining\n")
    assert said(code.replace("SERVES", "False"), 0.3) == (-signal.SIGTERM, "")


def test_who_ignores_the_signal_goes_on_ignoring_it():
    code = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch_sigterm(balancer, server=True)
    signal.raise_signal(signal.SIGTERM)
    print(balancer.presence.draining, flush=True)
    os._exit(0)
    """
    assert said(code) == (0, "False\n")


def test_an_event_loop_that_hears_of_it_its_own_way_is_left_alone():
    code = """
    async def main():
        done = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
        watch_sigterm(balancer, server=True)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(done.wait(), 30)
        print("heard", balancer.presence.draining, flush=True)
        os._exit(0)

    asyncio.run(main())
    """
    assert said(code) == (0, "heard False\n")


def test_the_handler_may_interrupt_a_holder_of_any_lock():
    code = """
    import logging
    signal.signal(signal.SIGTERM, former)
    watch_sigterm(balancer, server=True)
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger("balancemw").addHandler(handler)
    with balancer.presence._lock, handler.lock:
        signal.raise_signal(signal.SIGTERM)
    until(lambda: balancer.presence.draining)
    print("draining", flush=True)
    until(lambda: False)
    """
    assert said(code, 0.3) == (7, "draining\nthe server's\n")
