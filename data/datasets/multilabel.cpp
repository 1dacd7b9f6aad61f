#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/error.h"
#include "data/datasets/folder.h"
#include "data/datasets/formats.h"
#include "data/datasets/picture_files.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

/// A line of a list.
struct Entry {
  int64_t line;
  std::string path;
  std::vector<std::string> classes;
};

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  check<IoError>(in.good(), "{}: cannot be read: {}", file.string(), std::strerror(errno));
  check<IoError>(fs::is_regular_file(file), "{}: is not a regular file", file.string());
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

/// The fields of a line of CSV. @throws IoError, beginning with `where`, for quotes out of place
std::vector<std::string> fields_of(const std::string& line, const std::string& where) {
  std::vector<std::string> fields;
  for (size_t at = 0;; ++at) {
    std::string field;
    if (at < line.size() && line[at] == '"') {
      size_t end = at + 1;
      for (;; ++end) {
        check<IoError>(end < line.size(), "{}: a quote is not closed", where);
        if (line[end] == '"' && (end + 1 == line.size() || line[end + 1] != '"')) break;
        if (line[end] == '"') ++end;  // two stand for one
        field += line[end];
      }
      at = end + 1;
      check<IoError>(at == line.size() || line[at] == ',', "{}: a comma belongs behind a closing quote", where);
    } else {
      const size_t end = std::min(line.find(',', at), line.size());
      field = line.substr(at, end - at);
      check<IoError>(field.find('"') == std::string::npos, "{}: a field that holds a quote must stand in quotes",
                     where);
      at = end;
    }
    fields.push_back(std::move(field));
    if (at == line.size()) return fields;
  }
}

std::vector<Entry> entries_of(const fs::path& file) {
  std::vector<Entry> entries;
  std::set<std::string> seen;
  int64_t number = 0;
  for (const std::string& line : lines_of(file)) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    const std::string where = format("{}, line {}", file.string(), number);
    std::vector<std::string> fields = fields_of(line, where);
    const fs::path path = fs::path(fields[0]).lexically_normal();
    check<IoError>(!fields[0].empty(), "{}: the path of the image is missing", where);
    check<IoError>(path.is_relative() && *path.begin() != "..", "{}: {} does not lie in the folder", where, fields[0]);
    check<IoError>(seen.insert(path.string()).second, "{}: {} is listed twice", where, fields[0]);
    fields.erase(fields.begin());
    check<IoError>(std::find(fields.begin(), fields.end(), "") == fields.end(), "{}: an empty class", where);
    entries.push_back({number, path.string(), std::move(fields)});
  }
  check<IoError>(!entries.empty(), "{}: lists no images", file.string());
  return entries;
}

/// False only if there is no such file; one that may not be seen is an error once it is read.
bool there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error) || error;
}

std::vector<std::string> classes_of(const fs::path& root) {
  std::vector<std::string> classes;
  if (const fs::path file = root / "classes.txt"; there(file)) {
    for (const std::string& line : lines_of(file))
      if (!line.empty()) classes.push_back(line);
    const std::set<std::string> distinct(classes.begin(), classes.end());
    check<IoError>(distinct.size() == classes.size(), "{}: names a class twice", file.string());
    check<IoError>(!classes.empty(), "{}: names no classes", file.string());
    return classes;
  }
  const fs::path list = there(root / "train.csv") ? root / "train.csv" : root / "val.csv";
  std::set<std::string> found;
  for (const Entry& entry : entries_of(list)) found.insert(entry.classes.begin(), entry.classes.end());
  check<IoError>(!found.empty(), "{}: no image has a class", list.string());
  return {found.begin(), found.end()};
}

class MultiLabel final : public Dataset {
 public:
  MultiLabel(const fs::path& root, const fs::path& list, Split split)
      : root_(root.string() + "/"), names_(classes_of(root)) {
    std::map<std::string, int64_t> ids;
    for (size_t c = 0; c < names_.size(); ++c) ids.emplace(names_[c], int64_t(c));
    for (Entry& entry : entries_of(list)) {
      std::set<int64_t> classes;
      for (const std::string& name : entry.classes) {
        const auto known = ids.find(name);
        check<IoError>(known != ids.end(), "{}, line {}: the class '{}' is not one of {}", list.string(), entry.line,
                       name, fs::exists(root / "classes.txt") ? "classes.txt" : "train.csv");
        classes.insert(known->second);
      }
      images_.push_back({std::move(entry.path), {classes.begin(), classes.end()}});
    }
    description_ = format("list of images, {}: {} with any of {} classes each, from {}", split, images_.size(),
                          names_.size(), list.string());
  }

  int64_t size() const override { return int64_t(images_.size()); }
  const std::vector<std::string>& labels() const override { return names_; }
  const Preprocessing& preprocessing() const override { return preprocessing_; }
  int64_t label(int64_t i) const override {
    const std::vector<int64_t>& all = images_[size_t(i)].classes;
    return all.empty() ? 0 : all[0];
  }
  bool multi_label() const override { return true; }
  std::vector<int64_t> classes(int64_t i) const override { return images_[size_t(i)].classes; }
  Image image(int64_t i) const override { return pictures_.read(i, root_ + images_[size_t(i)].path); }
  std::vector<std::string> bad_images(size_t told) const override { return pictures_.bad_images(told); }
  std::string description() const override { return description_; }

 private:
  struct Listed {
    std::string path;
    std::vector<int64_t> classes;
  };
  const std::string root_;
  const std::vector<std::string> names_;
  std::vector<Listed> images_;
  std::string description_;
  const Preprocessing preprocessing_ = imagenet_preprocessing();
  const PictureFiles pictures_;
};

}  // namespace

std::unique_ptr<Dataset> open_multilabel(const std::string& folder, Split split) {
  const fs::path root = folder, list = root / (split == Split::train ? "train.csv" : "val.csv");
  require_folder(root);
  check<IoError>(there(list), "{}: no such file; it lists images: a path and its classes, with commas, in each line",
                 list.string());
  return std::make_unique<MultiLabel>(root, list, split);
}

}  // namespace vitrine::data
