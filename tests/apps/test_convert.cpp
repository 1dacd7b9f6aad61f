#include "data/checkpoint/safetensors.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::testing;

namespace {
std::string fixture(const std::string& name) {
  return std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/checkpoint/" + name;
}
}  // namespace

TEST_CASE("convert: a .pth becomes safetensors, told by its content", "[apps]") {
  const ScratchFolder folder("convert");
  std::filesystem::copy(fixture("zip.pth"), folder.file("in.bin"));
  const std::string out = folder.file("out.safetensors");
  const Finished run = run_program({"convert", folder.file("in.bin"), out, "--json"});
  INFO(run.err);
  REQUIRE(run.status == 0);
  const auto report = run.json();
  CHECK(report["tensors"] == 18);
  CHECK(report["format"] == "torch");
  CHECK(report["key"] == "model");
  CHECK(report["bytes"] == 650);
  CHECK(report["dtypes"]["bf16"] == 1);
  CHECK(report["list"][0] == nlohmann::json{{"name", "whole"}, {"dtype", "f32"}, {"shape", {4, 6}}});
  CHECK(report["notes"][0] == "\"i16\": int16 widened to i32");
  const data::Safetensors made = data::read_safetensors(out);
  CHECK(made.metadata == std::vector<std::pair<std::string, std::string>>{{"format", "pt"}});
  CHECK(made.at("bf16").dtype() == Dtype::bf16);

  const Finished other = run_program({"convert", fixture("zip.pth"), out, "--key", "optimizer"});
  REQUIRE(other.status == 0);
  CHECK(other.out.find("state.0.exp_avg  [1, 2] f32\n") != std::string::npos);
  CHECK(other.out.ends_with(": 6 tensors (6 f32), 32 bytes, from torch, entry optimizer\n"));
  CHECK(run_program({"convert", fixture("arrays.npz"), folder.file("a")}).status == 0);
  CHECK(run_program({"convert", out, folder.file("again"), "--json"}).json()["tensors"] == 6);
}

TEST_CASE("convert: what cannot be read is one error, and leaves no file", "[apps]") {
  const ScratchFolder folder("convertbad");
  const std::string whole = [] {
    std::ifstream in(fixture("legacy.pth"), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  const auto fails = [&](const std::string& in, const std::string& key, const std::string& text) {
    const Finished run = run_program({"convert", in, folder.file("out"), "--key", key});
    INFO(run.err);
    CHECK(run.is_one_error());
    CHECK(run.err.find(text) != std::string::npos);
    CHECK(run.status == 3);
  };
  fails(folder.write("half", whole.substr(0, whole.size() / 2)), "", "half: ");
  fails(folder.write("none", ""), "", "none: ");
  fails(fixture("zip.pth"), "args", "those that do: \"model\", \"optimizer\"");
  fails(folder.file("missing"), "", "missing: no such file");
  CHECK(folder.list() == std::vector<std::string>{"half", "none"});
  fails(folder.write("m-0123abcd.pth", whole), "", "give --ignore-name-hash");
  CHECK(run_program({"convert", folder.file("m-0123abcd.pth"), folder.file("out"), "--ignore-name-hash"}).status == 0);
}
