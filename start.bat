@echo off
rem Starts Sweetspot on Windows. After a double click its window stays open.
setlocal
set "PYTHON="
for %%V in (3.13 3.12 3.11 3.14) do if not defined PYTHON py -%%V -c "" >nul 2>&1 && set "PYTHON=py -%%V"
if not defined PYTHON python -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>&1 && set "PYTHON=python"
if not defined PYTHON (
    echo Sweetspot needs Python 3.11 or newer. Install it from python.org, with "Add to PATH" ticked.
    pause
    exit /b 1
)
%PYTHON% "%~dp0start.py" %*
set "CODE=%ERRORLEVEL%"
if "%~1"=="" pause
exit /b %CODE%
