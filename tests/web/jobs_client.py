"""Another client of the native API, for the page's tests."""
import time

import requests

FINAL = ("done", "failed", "cancelled")


class Api:
    """What another client does meanwhile."""

    def __init__(self, url, key=None):
        self.url = url + "/api/jobs"
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def call(self, method, path="", **kwargs):
        answer = requests.request(method, self.url + path, headers=self.headers, timeout=60, **kwargs)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def submit(self, prompt, **fields):
        return self.call("POST", json={"prompt": prompt, "width": 64, "height": 64, "steps": 2,
                                       **fields})

    def wait(self, job):
        end = time.monotonic() + 300
        while (job := self.call("GET", "/" + job["id"]))["state"] not in FINAL:
            assert time.monotonic() < end
            time.sleep(0.05)
        return job

    def clear(self):
        """Nothing runs and nothing hangs on the wall; what comes is painted."""
        requests.post(self.url.replace("/jobs", "/queue/resume"), headers=self.headers, timeout=60)
        for job in self.call("GET", "?limit=200")["jobs"]:
            if job["state"] not in FINAL:
                requests.post(f"{self.url}/{job['id']}/cancel", headers=self.headers, timeout=60)
                self.wait(job)  # it may have been done before it could be cancelled
            self.call("DELETE", "/" + job["id"])
