#include <nlohmann/json.hpp>

#include "core/allocator.h"
#include "core/trace.h"
#include "ops/softmax/softmax.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using nlohmann::json;
using Kind = trace::Event::Kind;

namespace {

/// What a recorder sees of softmax, forward and backward, in a module "head": each op behind its kernel.
void run_softmax() {
  const Tensor x = from_vector({1, 2, 3}, {3}, {.dtype = Dtype::f64}).set_requires_grad();
  const trace::PathScope path("head");
  ops::softmax(x, 0).backward({.gradient = from_vector({1, 2, 3}, {3}, {.dtype = Dtype::f64})});
}

double end_of(const trace::Event& e) { return e.start_us + e.duration_us; }

}  // namespace

TEST_CASE("a recorder sees ops, kernels, modules, shapes, bytes and times", "[unit]") {
  Allocator& cpu = allocator(Device::cpu());
  run_softmax();  // so that nothing is made for good below
  cpu.reset_peak();
  const int64_t live = cpu.stats().live_bytes;
  const trace::Recorder recorder;
  run_softmax();
  const std::vector<trace::Event>& events = recorder.events();
  REQUIRE(events.size() == 4);
  const trace::Event &in_forward = events[0], &forward = events[1], &in_backward = events[2], &backward = events[3];
  CHECK(in_forward.kind == Kind::kernel);
  CHECK(in_forward.name == "softmax_forward");
  CHECK(forward.kind == Kind::forward);
  CHECK(forward.name == "softmax");
  CHECK(in_backward.kind == Kind::kernel);
  CHECK(in_backward.name == "softmax_backward");
  CHECK(backward.kind == Kind::backward);
  CHECK(backward.name == "softmax");
  for (const trace::Event& e : events) {
    CHECK(e.module_path == "head");
    CHECK(e.device == DeviceType::cpu);
  }
  for (const trace::Event* e : {&forward, &backward}) {
    CHECK(e->attributes == "dim=0");
    CHECK(e->shapes == "[3] f64 cpu");
    CHECK(e->allocated_bytes == 3 * 8);  // the result
  }
  CHECK(forward.saved_bytes == 3 * 8);
  CHECK(backward.saved_bytes == 0);
  CHECK(in_forward.allocated_bytes == 0);
  CHECK(forward.live_peak_bytes == live + 2 * 64);   // x and y, in blocks of 64 bytes
  CHECK(backward.live_peak_bytes == live + 4 * 64);  // and dy and dx
  CHECK(forward.start_us >= 0);
  CHECK(forward.start_us <= in_forward.start_us);
  CHECK(in_forward.duration_us > 0);
  CHECK(end_of(in_forward) <= end_of(forward));
  CHECK(end_of(forward) <= backward.start_us);
  CHECK(backward.start_us <= in_backward.start_us);
  CHECK(end_of(in_backward) <= end_of(backward));
}

TEST_CASE("a recorder writes a Chrome trace", "[unit]") {
  const testing::ScratchFolder folder("trace");
  const trace::Recorder recorder;
  run_softmax();
  recorder.write_json(folder.file("step.json"));
  const json events = json::parse(folder.read("step.json"))["traceEvents"];
  REQUIRE(events.size() == recorder.events().size());
  const char* const kinds[] = {"forward", "backward", "kernel"};
  for (size_t i = 0; i < events.size(); ++i) {
    const trace::Event& e = recorder.events()[i];
    CHECK(events[i]["ts"].get<double>() == Catch::Approx(e.start_us));
    CHECK(events[i]["dur"].get<double>() == Catch::Approx(e.duration_us));
    json rest = events[i];
    rest.erase("ts"), rest.erase("dur");
    const json wanted = {{"ph", "X"},
                         {"pid", 0},
                         {"tid", int(e.kind)},
                         {"name", e.name},
                         {"cat", kinds[int(e.kind)]},
                         {"args",
                          {{"module", e.module_path},
                           {"attributes", e.attributes},
                           {"inputs", e.shapes},
                           {"device", "cpu"},
                           {"allocated_bytes", e.allocated_bytes},
                           {"live_peak_bytes", e.live_peak_bytes},
                           {"saved_bytes", e.saved_bytes}}}};
    CHECK(rest == wanted);
  }
  CHECK_THROWS_AS(recorder.write_json(folder.file("missing/step.json")), IoError);
}

TEST_CASE("a watcher sees the values it wants, by module and name", "[unit]") {
  struct Collect : trace::Watcher {
    std::vector<std::string> names;
    bool wants(const std::string& name) override { return name.ends_with("scores"); }
    void see(const std::string& name, const Tensor&) override { names.push_back(name); }
  } collect;
  trace::Watcher* previous = trace::set_watcher(&collect);
  {
    const Tensor x = ones({3});
    const trace::PathScope path("blocks.0"), inner("attn");
    CHECK(trace::watch("scores", x).same_as(x));
    trace::watch("other", x);
  }
  trace::set_watcher(previous);
  CHECK(collect.names == std::vector<std::string>{"blocks.0.attn.scores"});
}

TEST_CASE("a snapshot names the op and the module that made a block", "[unit]") {
  track_blocks(true);
  const Tensor x = ones({1000});
  Tensor y;
  {
    const trace::PathScope path("blocks.3"), inner("attn");
    y = ops::softmax(x, 0);
  }
  const std::vector<LiveBlock> blocks = allocator(Device::cpu()).snapshot();
  track_blocks(false);
  REQUIRE(blocks.size() == 2);
  for (const LiveBlock& block : blocks) {
    CHECK(block.bytes == 4000);
    const bool made_by_op = block.op == "softmax";
    CHECK(block.op == (made_by_op ? "softmax" : "host code"));
    CHECK(block.module_path == (made_by_op ? "blocks.3.attn" : ""));
  }
}
