"""Every event of the log with its meaning; docs/events.md is made from this list."""

from __future__ import annotations

#: Every event with its meaning, in words an operator understands.
EVENTS: dict[str, str] = {
    "started": "The daemon is up: the main process has routers and configuration.",
    "stopping": "An orderly stop of the daemon has begun; `signal` says who asked.",
    "stopped": "The daemon has put everything away; the main process exits.",
    "start_failed": "The daemon cannot start; `error` says why.",
    "crashed": "An internal error ends the process at once; the guard hands over.",
    "child_started": "The director process was started by the main process.",
    "director_started": "The director process follows its configuration and serves operators.",
    "director_stopping": "The director process puts threads, settings and table away.",
    "director_stopped": "The director process has put everything away and exits.",
    "director_failed": "An internal error ends the director process; main starts it again.",
    "child_lost": "The director process died or went silent; table and mastership stay.",
    "child_returned": "The restarted director process is up again and has read the configuration.",
    "guard_lost": "The guard process is gone: the VIPs are now protected by their lease alone.",
    "guard_replaced": "Another guard process protects the VIPs; `pid` says which.",
    "guard_refused": "No guard process could be started; it is tried again.",
    "config_loaded": "A configuration was read and is now in force.",
    "config_refused": "A configuration has errors; the one in force stays.",
    "config_failed": "An internal error of the configuration reader; it counts as a refusal.",
    "config_warning": "The configuration works but says something doubtful.",
    "config_changed": "A configuration file has changed on disk (autoreload, callback).",
    "table_adopted": "The services found in the kernel were taken over as they are.",
    "table_changed": "The kernel's table was changed to follow a new wish; `step` says how.",
    "table_repaired": "Something else had changed one of our services; it was put right.",
    "table_contested": "One key was repaired too often: something else keeps changing it.",
    "table_failed": "The kernel refused a change; it is tried again.",
    "table_cleared": "Our services were removed from the kernel at the orderly stop.",
    "weight_adopted": "A weight set to 0 by hand is kept and shown as a drain.",
    "foreign_service_found": "The kernel holds a service that is not ours; it is left alone.",
    "real_up": "A real server passed its checks and takes connections.",
    "real_down": "A real server failed its checks; `reason` is the last verdict.",
    "real_failing": "A check failed, but not often enough yet to take the real server down.",
    "real_steadied": "A check passed again before the real server had failed often enough.",
    "checks_hampered": "Checks could not be made, for want of something on this host.",
    "checker_lost": "A check worker ended or went silent; it is started again, no verdict falls.",
    "checker_returned": "A check worker that was lost asks its checks again.",
    "real_drained": "A real server was taken out of service by an operator.",
    "real_undrained": "A real server was put back into service by an operator.",
    "drain_expired": "The deadline of a drain has passed.",
    "maintenance_started": "A file of the maintenance folder takes a real server out of service.",
    "maintenance_ended": "No file of the maintenance folder names the real server any more.",
    "maintenance_failed": "The maintenance folder cannot be watched; it is tried again.",
    "mail_sent": "An alert mail was handed over to the mail server.",
    "mail_failed": "Alert mails could not be delivered; they are dropped.",
    "command_failed": "A fallbackcommand or callback could not be run or returned a failure.",
    "virtual_up": "A virtual service has enough live real servers again.",
    "virtual_down": "A virtual service has too few live real servers.",
    "fallback_used": "No real server is up: the fallback serves.",
    "fallback_retired": "A real server is back: the fallback no longer serves.",
    "ready": "The services are applied and every real server was judged once.",
    "router_changed": "A virtual router changed its state; `reason` says why.",
    "router_refused": "A virtual router cannot run as configured; `error` says why.",
    "advert_failed": "The kernel refused to send an advertisement; `reason` says why.",
    "advert_rejected": "An advertisement was discarded; `reason` names the fault.",
    "duplicate_owner_heard": "Another MAC announces an address that this master holds; told once"
    " a minute per address.",
    "lower_priority_heard": "A master heard a lower priority, after its first second; "
    "told by `lvsd events` alone.",
    "address_list_differed": "The master advertises other addresses than this director has.",
    "checksum_reading_differed": "A neighbour makes the checksum of version 3 over IPv4 otherwise;"
    " `reason` names the word that aligns it. Nothing is discarded.",
    "interval_differed": "Another router advertises at another interval than this director.",
    "own_address_heard": "An advertisement came from this director's own address: another host has"
    " it, too.",
    "second_owner_heard": "Another router advertises priority 255, as this director does.",
    "monitor_lost": "The kernel's notices overflowed or ended; everything is read afresh.",
    "vips_bound": "The kernel confirmed the addresses of a virtual router.",
    "vips_failed": "The kernel refused an address, or a tracked route or rule, of a virtual router;"
    " it stops advertising.",
    "vips_lost": "An address of a virtual router was taken away by somebody else.",
    "route_failed": "The kernel refused a route or a rule of a virtual router; it is tried again.",
    "route_lost": "A route or a rule of a virtual router was taken away, or replaced, by somebody"
    " else.",
    "noaccept_failed": "The kernel's packet filter refused what noaccept needs: the host answers.",
    "noaccept_lost": "Somebody removed the packet filter's table of noaccept; it is made again.",
    "relieved": "A farewell is over: another director took over, or nobody did (see `reason`).",
    "stepdown": "An operator asked a virtual router to give up mastership, or to take part again.",
    "notify_failed": "A notify program could not be run or returned a failure.",
    "script_up": "A tracked script succeeds again.",
    "script_down": "A tracked script fails.",
    "tracked_up": "A tracked process runs again, or a tracked file holds 0.",
    "tracked_down": "A tracked process does not run, or a tracked file holds another number.",
    "sync_started": "A connection synchronisation thread was started in the kernel.",
    "sync_stopped": "A connection synchronisation thread was stopped.",
    "sync_failed": "The kernel refused to start or stop a synchronisation thread.",
    "sysctl_set": "A kernel setting was changed; the old value is put back at the orderly stop.",
    "sysctl_failed": "A kernel setting could not be changed.",
    "state_lost": "A file of the state directory, or the log file, cannot be read or written.",
    "control_failed": "The control socket cannot be served, or a request made the daemon fail.",
    "follower_dropped": "Somebody followed the events but did not read them.",
    "lines_dropped": "So many log lines were lost because nobody read them fast enough.",
}


def events_document() -> str:
    """docs/events.md: made from `EVENTS`, compared with the file by a test."""
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in EVENTS.items())
    return (
        "# Events\n\n"
        "What lvsd writes to its log: one line per event, the event's name first, its data as\n"
        "`key=value`. `lvsd events` and `logfile=` have those of both processes: what happened\n"
        "while the director process was away follows, with its own time, once it is back. This\n"
        "page is made from the list in `lvsd/events.py`.\n\n"
        f"| event | meaning |\n|---|---|\n{rows}"
    )
