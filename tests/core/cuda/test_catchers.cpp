#include <algorithm>
#include <cstdlib>

#include "core/cuda/emulator/emulator.h"
#include "tests/core/cuda/runners.h"
#include "tests/support/catch.h"
#include "tests/support/report.h"

namespace vitrine::testing {
namespace {

using emulator::Flavour;
using emulator::Options;
using emulator::Order;

const Flavour kFlavour = emulator::flavour();

// What a flavour must say about a mistake: the text of the error, kWrong for a wrong result under some schedule, the
// kind of the sanitizer's report that ends the process, kUnseen if the flavour is not meant to find it.
const std::string kWrong = "wrong", kUnseen = "unseen";
const std::string kOutside = "AddressSanitizer: use-after-poison", kFreed = "AddressSanitizer: heap-use-after-free",
                  kIndex = "out of bounds for type 'int ", kMisaligned = "misaligned address";
const std::string kReports[] = {kOutside, kFreed, kIndex, kMisaligned};

struct Mistake {
  const char* name;
  std::string plain, asan, check;
};

const Mistake kMistakes[] = {
    {"no_barrier_before_read", kWrong, kWrong, "race: |uninitialised: "},
    {"no_barrier_before_overwrite", kWrong, kWrong, "race: "},
    {"no_syncwarp", kWrong, kWrong, "race: |uninitialised: "},
    {"shuffle_as_fence", kUnseen, kUnseen, "race: "},
    {"plain_add_in_block", kUnseen, kUnseen, "race: "},
    {"plain_add_between_blocks", kUnseen, kUnseen, "race: "},
    {"read_past_end", kUnseen, kOutside, "out of bounds: read of 4 bytes"},
    {"write_past_end", kUnseen, kOutside, "out of bounds: write of 4 bytes"},
    {"read_before_begin", kUnseen, kOutside, "offset -4 of a device block of 20 bytes"},
    {"shared_overrun", kUnseen, kIndex, "offset 384 of shared array tile of 384 bytes"},
    {"dynamic_shared_overrun", kUnseen, kOutside, "offset 384 of shared array dynamic shared memory"},
    {"stack_overrun", kUnseen, kIndex, kUnseen},
    {"use_after_free", kUnseen, kFreed, "out of bounds: write"},
    {"misaligned_float4", kUnseen, kMisaligned, "misaligned: read of 16 bytes"},
    {"misaligned_load4", "not a multiple of 16", "not a multiple of 16", "not a multiple of 16"},
    {"uninitialised_shared", kWrong, kWrong, "uninitialised: "},
    {"divergent_barrier", "different barriers", "different barriers", "different barriers"},
    {"return_before_barrier", "ended", "ended", "ended"},
    {"shuffle_without_all_lanes", "ended", "ended", "ended"},
    {"lanes_in_different_operations", "different operations", "different operations", "different operations"},
    {"lanes_with_different_masks", "different masks", "different masks", "different masks"},
    {"lane_outside_its_mask", "is not in its mask", "is not in its mask", "is not in its mask"},
    {"shuffle_from_outside_the_mask", "takes no part", "takes no part", "takes no part"},
    {"barrier_against_syncwarp", "deadlock", "deadlock", "deadlock"},
    {"lax_async_wait", kWrong, kWrong, "race: |wrong"},
    {"broken_chain_of_syncwarps", kWrong, kWrong, "race: |uninitialised: "},
    {"unsynchronised_bf16", kWrong, kWrong, "race: |uninitialised: "},
    {"overwrite_after_reads_of_warp", kWrong, kWrong, "and others"},
    {"overwrite_after_reads_of_block", kWrong, kWrong, "and others"},
    {"overwrite_after_reads_of_blocks", kUnseen, kUnseen, "of another block"},
    {"bytes_of_a_word", kWrong, kWrong, "race: read of 1 bytes"},
    {"no_barrier_after_async_wait", kWrong, kWrong, "race: "},
    {"shared_byte", kUnseen, kUnseen, "race: write of 1 bytes"},
    {"read_among_atomics", kUnseen, kUnseen, "not ordered after the atomic write"},
    {"load4_past_end", kUnseen, kOutside, "offset 1024 of a device block of 1024 bytes"},
    {"store4_past_end", kUnseen, kOutside, "offset 32 of a device block of 32 bytes"},
    {"ldmatrix_without_syncwarp", kUnseen, kUnseen, "race: |uninitialised: "},
    {"misaligned_ldmatrix", "not aligned to 16 bytes", "not aligned to 16 bytes", "not aligned to 16 bytes"},
    {"endless_loop", "endless loop", "endless loop", "endless loop"},
    {"too_much_shared", "the limit is 232448", "the limit is 232448", "the limit is 232448"},
};

const std::string& expectation(const Mistake& m) {
  return kFlavour == Flavour::check ? m.check : kFlavour == Flavour::asan ? m.asan : m.plain;
}

std::vector<Options> schedules() {
  std::vector<Options> all(7);
  all[1].order = Order::descending;
  for (size_t seed = 1; seed <= 5; ++seed) all[1 + seed].order = Order::priority, all[1 + seed].seed = seed;
  for (Options& o : all) o.max_steps = 100000;
  return all;
}

// What one schedule says: "" if all is well.
std::string outcome(const std::string& name, bool fixed, const Options& options) {
  const emulator::With with(options);
  try {
    const Words out = run("faulty/" + name, DeviceType::emulated, {fixed});
    return std::all_of(out.begin(), out.end(), [](uint32_t x) { return x == 1; }) ? "" : kWrong;
  } catch (const emulator::LaunchError& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("emulator: every kind of mistake is noticed by the flavour that is meant to", "[unit][emulated]") {
  for (const Mistake& m : kMistakes) {
    const std::string wanted = expectation(m);
    CAPTURE(m.name, wanted);
    if (wanted == kUnseen) continue;
    if (std::find(std::begin(kReports), std::end(kReports), wanted) != std::end(kReports)) {
      CHECK_THAT(report_of([&] { run(std::string("faulty/") + m.name, DeviceType::emulated, {false}); }),
                 Contains(wanted));
      continue;
    }
    std::string heard;
    for (const Options& o : schedules()) {
      heard = outcome(m.name, false, o);
      if (!heard.empty()) break;
    }
    const size_t bar = wanted.find('|');
    const bool found = heard.find(wanted.substr(0, bar)) != std::string::npos ||
                       (bar != std::string::npos && heard.find(wanted.substr(bar + 1)) != std::string::npos);
    CAPTURE(heard);
    CHECK((!heard.empty() && found));
  }
}

TEST_CASE("emulator: the checker needs no luck with the schedule", "[unit][emulated]") {
  if (kFlavour != Flavour::check) return;
  for (const Mistake& m : kMistakes) {
    if (m.check == kUnseen) continue;
    CAPTURE(m.name);
    Options ascending;
    ascending.max_steps = 100000;
    CHECK(outcome(m.name, false, ascending) != "");
  }
}

TEST_CASE("emulator: the repaired kernels raise nothing", "[unit][emulated]") {
  for (const Mistake& m : kMistakes) {
    for (const Options& o : schedules()) {
      CAPTURE(m.name, int(o.order), o.seed);
      CHECK(outcome(m.name, true, o) == "");
    }
  }
}

TEST_CASE("emulator: the priority order finds the overwrite hazard with every seed", "[unit][emulated]") {
  if (kFlavour == Flavour::check) return;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Options o;
    o.order = Order::priority;
    o.seed = seed;
    CAPTURE(seed);
    CHECK(outcome("no_barrier_before_overwrite", false, o) == kWrong);
  }
}

TEST_CASE("emulator: an error names block, thread, kernel and places", "[unit][emulated]") {
  try {
    run("faulty/divergent_barrier", DeviceType::emulated, {false});
    FAIL("no error");
  } catch (const emulator::LaunchError& e) {
    const std::string what = e.what();
    CAPTURE(what);
    CHECK(e.block.x == 0);
    CHECK(e.thread == 32);
    CHECK(what.find("faulty: ") == 0);
    CHECK(what.find("faulty.cu:") != std::string::npos);
  }
  if (kFlavour != Flavour::check) return;
  try {
    run("faulty/no_barrier_before_overwrite", DeviceType::emulated, {false});
    FAIL("no error");
  } catch (const emulator::LaunchError& e) {
    const std::string what = e.what();
    CAPTURE(what);
    const size_t first = what.find("faulty.cu:");
    CHECK(first != std::string::npos);
    CHECK(what.find("faulty.cu:", first + 1) != std::string::npos);
  }
}

}  // namespace vitrine::testing
