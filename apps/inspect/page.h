#pragma once
#include <string>
#include <utility>
#include <vector>

#include "apps/inspect/study.h"
#include "data/image/image.h"

namespace vitrine::apps {

/// Everything that the page shows.
struct Page {
  const Study& study;
  const ClassifierSpec& spec;
  std::string checkpoint, image_file;
  std::vector<std::pair<std::string, std::string>> facts;  ///< of the header: name, value
  data::Image given, seen;                                 ///< the file's picture, and what the model gets of it
  std::string dtype_and_device;                            ///< "f32 cpu"
};

/// One HTML document that needs nothing from outside.
std::string inspect_page(const Page& page);

// Its sections, and what is the same for all pages.
std::string header_section(const Page& page);
std::string maps_section(const Page& page);
std::string share_section(const Page& page);
std::string tape_section(const Page& page);
std::string values_section(const Page& page);
/// What the script of the maps reads: JSON.
std::string maps_json(const Page& page);
extern const char* const kPageStyle;
extern const char* const kPageScript;

}  // namespace vitrine::apps
