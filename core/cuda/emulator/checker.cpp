#include "core/cuda/emulator/checker.h"

#if defined(VITRINE_CHECK)
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/cuda/emulator/worker.h"

// What is checked, for each access of a kernel to a region (a block of device memory or a shared array):
//   bounds        it lies inside one region, aligned to its size
//   races         it is ordered after every earlier conflicting access to the same cells
//   initialisation  a shared cell that is read was written in this block
//
// A cell (4 bytes, or 2 or 1 once a narrower access has been seen) keeps its last write and its last reads. An earlier
// access precedes the present one if both are of one thread; or of one block, with a block barrier between; or of one
// warp, with a chain of __syncwarp between. Launches follow each other; blocks of one launch are never ordered.
// Every block run gets a number of its own, so accesses of earlier launches (and, in shared memory, of earlier blocks)
// are recognised by their number, and nothing is ever cleared.
namespace vitrine::emulator::checker {
namespace {

enum Level : uint8_t {
  kOne,
  kLanes,
  kWarps,
  kBlocks
};  // who has read, since these reads are not ordered among each other

struct Access {
  uint64_t block = 0;  // number of the block run; 0 = no access
  const void* code = nullptr;
  uint32_t barrier = 0, clock = 0;
  uint32_t lanes = 0;  // for kLanes
  uint16_t thread = 0;
  Level level = kOne;
  bool atomic = false;
};
struct Cell {
  Access write, read;
};

struct Region {
  char* begin = nullptr;
  size_t bytes = 0;
  const char* name = nullptr;  // of a shared array
  const void* key = nullptr;
  int shift = 2;  // log2 of the bytes per cell
  Cell* cells = nullptr;

  bool contains(const char* p) const { return size_t(p - begin) < bytes; }
  std::string describe() const {
    return (name ? "shared array " + std::string(name) : std::string("a device block")) + " of " +
           std::to_string(bytes) + " bytes";
  }
};

// Address space for one cell per byte; pages are used as they are touched.
Cell* map_cells(size_t bytes) {
  void* map = mmap(nullptr, std::max<size_t>(bytes, 1) * sizeof(Cell), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw CudaError("checker: no address space for shadow memory");
  return static_cast<Cell*>(map);
}

struct Clocks {                // of one warp
  uint32_t events = 0;         // __syncwarps so far
  uint32_t clock[32] = {};     // by lane: the last event it took part in
  uint32_t seen[32][32] = {};  // [b][a]: lane b has seen the accesses of lane a with clocks below this
};

struct State {
  std::mutex mutex;  // of `device`
  std::map<char*, Region> device;
  Region* recent[4] = {};  // device blocks used lately, newest first
  Region* last_shared = nullptr;
  std::vector<Region> shared;  // of this block
  std::vector<std::pair<const void*, int>> shifts;
  Cell* arena_cells = nullptr;
  uint64_t block = 0, first_block = 1;  // number of this block run, and of the first one of this launch
  uint32_t barriers = 0;
  Clocks warps[kMaxWarps];
  const char* arguments = nullptr;
  size_t argument_bytes = 0;
  std::vector<std::pair<const char*, const char*>> constants;
};
// Never destroyed: device memory may be freed during the program's exit. In the check flavour one thread runs launches.
State& state() {
  static State& s = *new State;
  return s;
}
thread_local bool watching = false;

// ---- Words for reports ------------------------------------------------------------------------------------------

std::string place(const void* code) {
  Dl_info info;
  if (!dladdr(code, &info) || !info.dli_fname) return "?";
  const char* const base = static_cast<const char*>(info.dli_fbase);
  const bool fixed = reinterpret_cast<const ElfW(Ehdr)*>(base)->e_type == ET_EXEC;
  // The address is the one behind the call.
  const size_t offset = size_t(static_cast<const char*>(code) - (fixed ? nullptr : base)) - 1;
  char file[4096];
  snprintf(file, sizeof file, "%s", info.dli_fname);
  if (file[0] != '/') {
    const ssize_t n = readlink("/proc/self/exe", file, sizeof file - 1);
    if (n > 0) file[n] = 0;
  }
  char command[4300];
  snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null", file, offset);
  std::string line;
  if (FILE* pipe = popen(command, "r")) {
    char text[1024];
    if (fgets(text, sizeof text, pipe)) line = std::string(text, strcspn(text, " \n"));
    pclose(pipe);
  }
  if (line.empty() || line[0] == '?') snprintf(file, sizeof file, "%p", code), line = file;
  return line;
}

const char* verb(Kind kind) {
  switch (kind) {
    case Kind::read:
      return "read";
    case Kind::write:
      return "write";
    case Kind::atomic_read:
      return "atomic read";
    case Kind::atomic_write:
      return "atomic write";
  }
  return "";
}

template <class F>
[[noreturn]] void report(F&& reason) {
  watching = false;
  worker()->fail_with(reason);
}

std::string access_text(const void* address, size_t bytes, Kind kind) {
  char text[96];
  snprintf(text, sizeof text, "%s of %zu bytes at %p", verb(kind), bytes, address);
  return text;
}

[[noreturn]] void report_outside(const char* p, size_t bytes, Kind kind, const void* code) {
  watching = false;
  State& s = state();
  const Region* nearest = nullptr;
  size_t distance = ~size_t{0};
  const auto look = [&](const Region& r) {
    const size_t d = p < r.begin ? size_t(r.begin - p) : size_t(p - r.begin) - std::min(size_t(p - r.begin), r.bytes);
    if (d < distance) distance = d, nearest = &r;
  };
  for (const auto& [begin, region] : s.device) look(region);
  for (const Region& region : s.shared) look(region);
  report([&] {
    const std::string text = "out of bounds: " + access_text(p, bytes, kind) + " in " + place(code);
    if (!nearest || distance >= 4096) return text + ": no device or shared memory";
    return text + ": offset " + std::to_string(p - nearest->begin) + " of " + nearest->describe();
  });
}

[[noreturn]] void report_race(const Region& r, const char* p, size_t bytes, Kind kind, const void* code,
                              const Access& other, bool other_writes) {
  watching = false;
  const State& s = state();
  report([&] {
    std::string who = "thread " + std::to_string(other.thread);
    if (other.level == kLanes || other.level == kWarps) who += " and others";
    if (other.block != s.block || other.level == kBlocks) who += " of another block";
    return "race: " + access_text(p, bytes, kind) + " (offset " + std::to_string(p - r.begin) + " of " + r.describe() +
           ") in " + place(code) + ", not ordered after the " + (other.atomic ? "atomic " : "") +
           (other_writes ? "write" : "read") + " of " + who + " in " + place(other.code);
  });
}

// ---- Regions ----------------------------------------------------------------------------------------------------

Region* find(const char* p, State& s) {
  if (s.last_shared && s.last_shared->contains(p)) return s.last_shared;
  for (Region* r : s.recent) {
    if (r && r->contains(p)) return r;
  }
  for (Region& r : s.shared) {
    if (r.contains(p)) return s.last_shared = &r;
  }
  const std::lock_guard lock(s.mutex);
  auto it = s.device.upper_bound(const_cast<char*>(p));
  if (it == s.device.begin()) return nullptr;
  --it;
  if (!it->second.contains(p)) return nullptr;
  if (!it->second.cells) it->second.cells = map_cells(it->second.bytes);
  std::copy_backward(s.recent, s.recent + 3, s.recent + 4);
  return s.recent[0] = &it->second;
}

int collect_constants(dl_phdr_info* info, size_t, void* data) {
  auto& out = *static_cast<std::vector<std::pair<const char*, const char*>>*>(data);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& h = info->dlpi_phdr[i];
    if ((h.p_type == PT_LOAD && !(h.p_flags & PF_W)) || h.p_type == PT_GNU_RELRO) {
      const char* begin = reinterpret_cast<const char*>(info->dlpi_addr + h.p_vaddr);
      out.emplace_back(begin, begin + h.p_memsz);
    }
  }
  return 0;
}

bool is_constant(const char* p) {
  State& s = state();
  const auto inside = [p](const auto& range) { return p >= range.first && p < range.second; };
  if (std::any_of(s.constants.begin(), s.constants.end(), inside)) return true;
  s.constants.clear();
  dl_iterate_phdr(collect_constants, &s.constants);
  return std::any_of(s.constants.begin(), s.constants.end(), inside);
}

// Memory that is no region but that a thread may use: its stack, its built-ins, the arguments.
bool is_private(const char* p, Kind kind, const Worker& w, const State& s) {
  if (w.fiber().on_stack(p)) return true;
  return kind == Kind::read && (size_t(p - reinterpret_cast<const char*>(&builtins)) < sizeof builtins ||
                                size_t(p - s.arguments) < s.argument_bytes);
}

// Makes the cells of a region smaller; each new cell inherits what the old one knew.
void refine(Region& r, int shift) {
  const size_t old_count = (r.bytes + (size_t{1} << r.shift) - 1) >> r.shift, parts = size_t{1} << (r.shift - shift);
  for (size_t i = old_count; i-- > 0;) {
    const Cell cell = r.cells[i];
    const bool empty = !cell.write.block && !cell.read.block;
    for (size_t j = parts; j-- > 0;) {
      // Untouched pages stay so: beyond the old cells, an empty cell is empty already.
      if (!empty || i * parts + j < old_count) r.cells[i * parts + j] = cell;
    }
  }
  r.shift = shift;
  if (!r.name) return;
  for (auto& [key, known] : state().shifts) {
    if (key == r.key) {
      known = shift;
      return;
    }
  }
  state().shifts.emplace_back(r.key, shift);
}

// ---- Order ------------------------------------------------------------------------------------------------------

struct Now {
  uint64_t block;
  uint32_t barrier, clock;
  const Clocks* warp;
  int thread;
};

bool stale(const Access& a, const Region& r, const State& s) {
  return r.name ? a.block != s.block : a.block < s.first_block;
}

bool precedes(const Access& a, const Now& now) {
  if (a.block != now.block || a.level == kBlocks) return false;
  if (a.barrier < now.barrier) return true;
  if (a.level == kWarps || a.thread / 32 != now.thread / 32) return false;
  const uint32_t* seen = now.warp->seen[now.thread % 32];
  if (a.level == kOne) return a.thread == now.thread || seen[a.thread % 32] > a.clock;
  for (uint32_t m = a.lanes & ~(1u << now.thread % 32); m; m &= m - 1) {
    if (seen[__builtin_ctz(m)] <= a.clock) return false;
  }
  return true;
}

void record_read(Access& r, const Now& now, const Access& fresh, bool forget) {
  if (forget || precedes(r, now)) {
    r = fresh;
    return;
  }
  const uint32_t lanes = (r.level == kOne ? 1u << r.thread % 32 : r.lanes) | 1u << now.thread % 32;
  Level level = kLanes;
  if (r.level == kBlocks || r.block != now.block) {
    level = kBlocks;
  } else if (r.level == kWarps || r.thread / 32 != now.thread / 32) {
    level = kWarps;
  }
  const uint32_t clock = std::max(r.clock, fresh.clock);
  const bool atomic = r.atomic && fresh.atomic;
  r = fresh;
  r.level = level, r.lanes = lanes, r.clock = clock, r.atomic = atomic;
}

void check(const char* p, size_t bytes, Kind kind, const void* code, bool aligned) {
  Worker& w = *worker();
  ++w.stats.accesses;
  w.step(true);
  State& s = state();
  if (is_private(p, kind, w, s)) return;
  Region* const r = find(p, s);
  if (!r) {
    if (kind == Kind::read && is_constant(p)) return;
    report_outside(p, bytes, kind, code);
  }
  const size_t offset = size_t(p - r->begin);
  if (bytes > r->bytes - offset) report_outside(p, bytes, kind, code);
  if (aligned && reinterpret_cast<uintptr_t>(p) % bytes) {
    watching = false;
    report([&] { return "misaligned: " + access_text(p, bytes, kind) + " in " + place(code); });
  }
  int shift = std::min(r->shift, __builtin_ctzll(offset | bytes | 4));
  if (shift < r->shift) refine(*r, shift);

  const int thread = w.current().number;
  const Clocks& clocks = s.warps[thread / 32];
  const Now now{s.block, s.barriers, clocks.clock[thread % 32], &clocks, thread};
  const bool atomic = kind >= Kind::atomic_read, writes = kind == Kind::write || kind == Kind::atomic_write;
  const Access fresh{now.block, code, now.barrier, now.clock, 0, uint16_t(thread), kOne, atomic};
  for (size_t i = offset >> shift, end = (offset + bytes - 1) >> shift; i <= end; ++i) {
    Cell& cell = r->cells[i];
    const bool no_write = stale(cell.write, *r, s), no_read = stale(cell.read, *r, s);
    if (no_write && r->name && !writes) {
      watching = false;
      report([&] {
        return "uninitialised: " + access_text(p, bytes, kind) + " (offset " + std::to_string(offset) + " of " +
               r->describe() + ") in " + place(code) + ", which no thread of the block has written";
      });
    }
    if (!no_write && !(atomic && cell.write.atomic) && !precedes(cell.write, now)) {
      report_race(*r, p, bytes, kind, code, cell.write, true);
    }
    if (!writes) {
      record_read(cell.read, now, fresh, no_read);
      continue;
    }
    if (!no_read && !(atomic && cell.read.atomic) && !precedes(cell.read, now)) {
      report_race(*r, p, bytes, kind, code, cell.read, false);
    }
    cell.write = fresh;
    cell.read.block = 0;  // ordered before this write, so nothing needs to know of them any more
  }
}

}  // namespace

// ---- Calls of the runtime ---------------------------------------------------------------------------------------

void begin_launch(const void* arguments, size_t argument_bytes) {
  State& s = state();
  s.arguments = static_cast<const char*>(arguments);
  s.argument_bytes = argument_bytes;
  s.first_block = s.block + 1;
  watching = true;
}

void end_launch() { watching = false; }

void pause(bool on) { watching = !on; }

void begin_block() {
  State& s = state();
  ++s.block;
  s.barriers = 0;
  s.shared.clear();
  s.last_shared = nullptr;
  for (Clocks& c : s.warps) {
    if (c.events) c = Clocks{};
  }
}

void barrier() { ++state().barriers; }

void sync_warp(int warp, unsigned members) {
  Clocks& c = state().warps[warp];
  const uint32_t event = ++c.events;
  uint32_t joined[32] = {};
  for (unsigned m = members; m; m &= m - 1) {
    const uint32_t* seen = c.seen[__builtin_ctz(m)];
    for (int a = 0; a < 32; ++a) joined[a] = std::max(joined[a], seen[a]);
  }
  for (unsigned m = members; m; m &= m - 1) joined[__builtin_ctz(m)] = event;
  for (unsigned m = members; m; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    memcpy(c.seen[lane], joined, sizeof joined);
    c.clock[lane] = event;
  }
}

void add_shared(const void* key, char* begin, size_t arena_offset, size_t bytes, const char* name) {
  State& s = state();
  if (!s.arena_cells) s.arena_cells = map_cells(kArenaBytes);
  Region r;
  r.begin = begin, r.bytes = bytes, r.name = name, r.key = key;
  r.cells = s.arena_cells + arena_offset;
  for (const auto& [known, shift] : s.shifts) {
    if (known == key) r.shift = shift;
  }
  s.shared.push_back(r);
  s.last_shared = nullptr;
}

void add_device(void* begin, size_t bytes) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  Region r;
  r.begin = static_cast<char*>(begin), r.bytes = bytes;
  s.device[r.begin] = r;
}

void remove_device(void* begin) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto it = s.device.find(static_cast<char*>(begin));
  if (it == s.device.end()) return;
  if (it->second.cells) munmap(it->second.cells, std::max<size_t>(it->second.bytes, 1) * sizeof(Cell));
  std::fill(std::begin(s.recent), std::end(s.recent), nullptr);
  s.device.erase(it);
}

void note(const void* address, size_t bytes, Kind kind, const void* code, bool aligned) {
  if (watching) check(static_cast<const char*>(address), bytes, kind, code, aligned);
}

}  // namespace vitrine::emulator::checker
#endif
