"""An ordinary web server: reads a file at start and at HUP, and answers with what it read.

web.py FILE PORT_FILE

Every answer is JSON: the process's number, how often it has read the file, and the text. The port, one that was free,
is written to PORT_FILE.
"""
import http.server, json, os, signal, sys

name, port_file = sys.argv[1:]
read, text = 0, ""


def load(*_):
    global read, text
    with open(name) as file:
        read, text = read + 1, file.read()


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"pid": os.getpid(), "read": read, "text": text}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


load()
signal.signal(signal.SIGHUP, load)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
with open(port_file + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(port_file + ".new", port_file)
server.serve_forever()
