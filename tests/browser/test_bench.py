"""What `make bench` does with views: it measures one after another, in the same JupyterLab."""

import bench_views


def test_views_are_measured_one_after_another(open_notebook, monkeypatch):
    monkeypatch.setattr(bench_views, "ROUNDS", 2)
    for name in ("PatchBench", "HostView"):
        echo, view = bench_views.measure(open_notebook, *bench_views.VIEWS[name])
        assert len(echo) == len(view) == 2
        assert all(0 < one < 60_000 for one in (*echo, *view))
