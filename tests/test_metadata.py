"""What archives read: Zenodo's and CodeMeta's files say what CITATION.cff says; the data set's
description has the columns that are written."""

import json
import tomllib

import pytest
import yaml

from kd_offload import graphs
from kd_offload.artifact import ROOT
from kd_offload.tasks import feature_names

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAPER = CITATION["preferred-citation"]


def read(name: str) -> dict:
    return json.loads((ROOT / name).read_text())


def test_zenodo_and_codemeta_say_what_the_citation_says():
    ours = [author["name"] for author in CITATION["authors"]]
    people = [(author["family-names"], author["given-names"]) for author in PAPER["authors"]]
    (arxiv,) = (i["value"] for i in CITATION["references"][0]["identifiers"])
    zenodo, codemeta = read(".zenodo.json"), read("codemeta.json")
    for one, name in ((zenodo, "title"), (codemeta, "name")):
        assert one[name] == CITATION["title"] and one["description"] == PROJECT["description"]
        assert one["version"] == CITATION["version"] == PROJECT["version"]
        assert one["license"].split("/")[-1] == CITATION["license"]
    assert [one["name"] for one in zenodo["creators"]] == ours
    assert [one["name"] for one in codemeta["author"]] == ours
    assert [one["identifier"] for one in zenodo["related_identifiers"]] == [arxiv]
    assert zenodo["upload_type"] == CITATION["type"]
    assert codemeta["softwareRequirements"] == f"Python {PROJECT['requires-python']}"
    paper = codemeta["referencePublication"]
    assert [(one["familyName"], one["givenName"]) for one in paper["author"]] == people
    assert (paper["name"], paper["url"]) == (PAPER["title"], PAPER["url"])
    assert (paper["datePublished"], paper["isPartOf"]) == (str(PAPER["year"]), PAPER["journal"])


@pytest.mark.parametrize("graph", [graphs.chain(), graphs.dag(), graphs.fusion()])
def test_croissant_has_the_columns_of_the_shards(graph):
    about = read("croissant.json")
    assert about["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert about["version"] == CITATION["version"] and PAPER["title"] in about["citeAs"]
    files = {one["@id"]: one["includes"] for one in about["distribution"]}
    (records,) = (one for one in about["recordSet"] if one["@id"] == graph.name)
    placed = [f"x_{i + 1}" for i in range(graph.n)]
    columns = [*feature_names(graph), *placed, "delay_s", "nodes"]
    assert [one["name"] for one in records["field"]] == columns
    for one in records["field"]:
        kind = "sc:Integer" if one["name"] in (*placed, "nodes") else "sc:Float"
        assert one["@id"] == f"{graph.name}/{one['name']}" and one["dataType"] == kind
        assert one["source"]["extract"] == {"column": one["name"]} and one["description"]
        assert files[one["source"]["fileSet"]["@id"]] == f"data/{graph.name}/*/*.parquet"
