"""An ordinary web server whose answers somebody else decides on.

answers.py PORT FOLDER

A path is answered with the status that the file of its name in FOLDER holds at that moment, and 200 if there is none.
The body says who answers: the variable MESOS_TASK_ID.
"""
import http.server, os, sys

port, folder = int(sys.argv[1]), sys.argv[2]


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            with open(os.path.join(folder, os.path.basename(self.path))) as file:
                status = int(file.read())
        except OSError:
            status = 200
        body = os.environ.get("MESOS_TASK_ID", "").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
