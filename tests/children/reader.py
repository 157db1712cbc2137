"""Reads some files at start and after each HUP, slowly, and writes down what they said.

reader.py REPORT MAX_MS FILE...

A file is lines `NAME=NUMBER`. Reading all files takes a time drawn from 0 to MAX_MS milliseconds, and a part of it
passes in the middle of each file: who changes a file before the reader is done is caught. One line of REPORT for each
reading: how many HUPs had come when it began, and the different numbers seen, in order.
"""
import os, random, signal, sys, time

report, max_ms, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
hups, wake = 0, os.pipe()


def on_hup(signum, frame):
    global hups
    hups += 1
    os.write(wake[1], b"x")


signal.signal(signal.SIGHUP, on_hup)


def numbers(pause):
    seen = set()
    for name in files:
        with open(name) as file:
            size = os.fstat(file.fileno()).st_size
            half = file.read(size // 2)
            time.sleep(pause)
            text = half + file.read()
        seen.update(line.split("=", 1)[1] for line in text.split("\n") if "=" in line)
    return sorted(seen, key=int)


with open(report, "a", buffering=1) as out:
    while True:
        begun = hups
        seen = numbers(random.uniform(0, max_ms) / 1000 / len(files))
        out.write("%d %s\n" % (begun, " ".join(seen)))
        if hups == begun:
            os.read(wake[0], 4096)
